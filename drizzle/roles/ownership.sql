-- Makes `taskwire` the owner of the current database and of everything in it that belongs to the server's first role, except what is
-- PostgreSQL's own or part of an extension. To be run by a superuser; changes nothing when it is run again.
do $$
declare
  object text;
begin
  execute format('alter database %I owner to taskwire', current_database());
  for object in
    with own_schemas as (
      select oid, nspname, nspowner from pg_namespace where nspname !~ '^pg_' and nspname <> 'information_schema'
    ), linked as (
      select classid, objid from pg_depend
      where deptype = 'e' or (deptype in ('a', 'i') and classid = 'pg_class'::regclass and refclassid = 'pg_class'::regclass)
    )
    select format('schema %I', nspname) from own_schemas where nspowner = 10 and nspname <> 'public'
    union all
    select format('%s %s',
      case relkind when 'v' then 'view' when 'm' then 'materialized view' when 'f' then 'foreign table' when 'S' then 'sequence' else 'table' end,
      c.oid::regclass)
    from pg_class c join own_schemas s on s.oid = relnamespace
    where relowner = 10 and relkind in ('r', 'p', 'v', 'm', 'f', 'S')
      -- A sequence of a column follows its table.
      and not (relkind = 'S' and exists (select from linked where classid = 'pg_class'::regclass and objid = c.oid))
      and not exists (select from pg_depend where deptype = 'e' and classid = 'pg_class'::regclass and objid = c.oid)
    union all
    select format('routine %s', p.oid::regprocedure) from pg_proc p join own_schemas s on s.oid = pronamespace
    where proowner = 10 and not exists (select from linked where classid = 'pg_proc'::regclass and objid = p.oid)
    union all
    select format('type %s', t.oid::regtype) from pg_type t join own_schemas s on s.oid = typnamespace left join pg_class c on c.oid = typrelid
    where typowner = 10 and (typtype in ('e', 'd', 'r') or c.relkind = 'c')
      and not exists (select from linked where classid = 'pg_type'::regclass and objid = t.oid)
    union all
    select format('large object %s', oid) from pg_largeobject_metadata where lomowner = 10
  loop
    execute format('alter %s owner to taskwire', object);
  end loop;
end $$;
